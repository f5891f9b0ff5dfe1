"""The benchmarks: cases as data, one runner, and a record of every result.

`cases` says what is run, `op_implementations` and `model_implementations` how, with `peers` for
other packages; `build` finds the right one. `runner` checks the implementations against each other
and times them in turns, `memory` measures each in a process of its own, `record` writes what was
found, and `plots` draws it. The command line calls `command`.
"""

__all__: list[str] = []
