"""The benchmarks: cases as data, one runner, and a record of every result.

`cases` says what is run, `sides` and `model_sides` how, with `peers` for other packages; `runner`
checks the sides against each other and times them in turns, `memory` measures each in a process of
its own, `record` writes what was found, and `plots` draws it. The command line calls `command`.
"""

__all__: list[str] = []
