from .comparison.ablations import SetResult as SetResult, run_set as run_set
from .comparison.folds import CrossValidation as CrossValidation, cross_validate as cross_validate
from .evaluation import Evaluation as Evaluation, evaluate as evaluate
from .finetuning.finetune import FinetuneResult as FinetuneResult, finetune as finetune
from .fitting.execution import Execution as Execution
from .fitting.fit import fit as fit
from .run import RunResult as RunResult
