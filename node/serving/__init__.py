"""Between the HTTP API and the core: who serves a request, and how effects become acts.

`driver` carries out the core's effects (log, bulk plane, runner) and hands events in; `calls` is request and answer
between nodes; `local` answers for the slots that this node holds; `service` finds who can answer and asks there; `hub`
keeps an event stream, and `news` those of the whole mesh. All of it runs on the node's event loop.
"""
