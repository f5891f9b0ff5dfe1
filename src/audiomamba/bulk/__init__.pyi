from .computation import Computation as Computation
from .launch import launch as launch
from .merge import merge as merge
from .plan import Plan as Plan, make_plan as make_plan
from .status import Status as Status, status_of as status_of
from .verify import verify as verify
