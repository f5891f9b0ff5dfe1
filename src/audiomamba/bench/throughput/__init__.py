"""From files on disk to a table of tags: how many a second, beside what else a user would take.

Each side is a folder of files done by processes of its own, which load, warm up, and then take
turns: `sides` says what they do, `turns` runs them, `report` makes tables and lines of JSON.
"""

__all__: list[str] = []
