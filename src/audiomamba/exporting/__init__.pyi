from .agreement import Agreement as Agreement
from .exported import Exported as Exported, export as export
