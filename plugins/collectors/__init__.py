"""Collectors: where data comes from. One file a plugin; it imports `plugins.api` and its neighbours only.

    csv, jsonl   files, plain or compressed: `sources` finds them, `packing` tells how they are packed,
                 `lines` reads whole lines with exact offsets, `files` plans shards and positions for both
    sql          tables and queries of a database file
    http         JSON over HTTP
    bench        made-up records, to measure everything else

The first batch of a shard starts at the position it was told to resume from; None is the shard's own start.
"""
