"""How fast mhfd is on this machine, beside its rivals: the figures of the paper, measured again.

`plan` says what to measure; `contestants` gathers who takes part, the rivals being in `paper` and `rivals`;
`race` times them; `tables` and `plots` show what came out; `run` is the whole. Only `plan` is light to import.
"""
