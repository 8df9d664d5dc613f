"""Where data comes from and where it goes: collectors, sinks, transforms.

`plugins.api` is the contract; everything else in this folder imports it and nothing of the node.
One file a plugin: its options, its class, its errors. A plugin is named by one entry-point line.
"""
