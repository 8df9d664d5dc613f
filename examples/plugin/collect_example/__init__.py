"""An example of a plugin package: the collector `dates` and the transform `pick`."""
