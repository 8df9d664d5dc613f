"""Input made to hurt: bytes, updates, facts, events and files that no correct node or user produces.

`targets` holds each decoder and parser as a function of bytes; the tests run a short form of it, the same each
time, and `make fuzz` runs all of it: `campaign` sends hostile updates through the acceptance path (pre-pass,
document, ledger, joins, folds) in child processes, `guided` lets atheris find its way into each target.
`test_convergence` and `test_membership` are state machines: ledgers in any order of delivery (I10, I11), and the
membership machine against a reference order (I14).

Properties: nothing but the documented error comes out; a refusal changes nothing; a document that took an update
can be encoded, synced and extended; the log gives the same content again. At most 50 ms an input is reported, not
asserted.
"""
