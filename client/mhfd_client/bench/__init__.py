"""How fast mhfd is on this machine, beside its rivals: the figures of the paper, measured again.

`plan` says what to measure; `contestants` lists what to time, with the rivals of `paper` and `rivals`, `shared` what
shares a tile between devices, and `feeding` the ways from files to numbers; `race` times them; `tables` and `plots`
show the results; `run` does it all. Only `plan` is light to import.
"""
