"""The formats that results are written in: one class and one row in a table for each.

    tags.TAG_TABLES           files of tags, by suffix
    tags.TAG_TEXTS            tags on standard output, by name
    events.EVENT_FORMATS      events, by name and by suffix
    embeddings.EMBEDDING_FORMATS  embeddings, by suffix
    pictures.PICTURE_FORMATS  pictures, by suffix

What they write comes from the to_dict methods of audiomamba.infer.results. Command-line help and
messages name the formats as these tables do. Importing them loads neither torch nor NumPy.
"""

__all__: list[str] = []
