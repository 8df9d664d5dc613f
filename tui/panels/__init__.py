"""Rows -> Rich renderables, pure; one module a panel. A panel draws only the rows that fit."""
