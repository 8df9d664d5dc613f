"""Sinks: where records go. One file a plugin; it imports `plugins.api` and its neighbours only.

jsonl, csv   files in a folder: `durable` writes them, `chain` is the truth about what was committed,
             `manifest` says what is published, `files` is the sink but for the format
sqlite       a table; data and position in one transaction; `columns` makes columns
discard      nothing is kept, to measure everything else
"""
