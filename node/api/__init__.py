"""The HTTP API of a node: one file a resource, one table of routes that also makes the OpenAPI document.

A handler reads the request, checks it and asks the `Service` of node.service; it holds no state of its own.
`middleware` does what holds for all; `access` decides who may speak. May import aiohttp, node.schema,
node.service, node.spec, plugins, and bounds from node.security.tickets; never the mesh itself.
"""
