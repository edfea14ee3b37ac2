"""The live page: a run in the browser. It reads the ledger, and writes only what people decide there."""
