"""A window on any node: `collect top`.

It reads the HTTP API only and holds no truth: a snapshot is fetched (`watcher`), turned into rows
(`view`, pure), drawn (`panels`, `frame`, pure), and keys change what is looked at (`keys`, pure);
`app` is the loop around them.
When the node it talks to dies it goes on with another member, whose address it learnt from the cluster,
and the header shows the age of what is on the screen.

May import: node.client, node.schema, rich.
"""
