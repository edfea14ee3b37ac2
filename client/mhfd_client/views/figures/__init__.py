"""The figures of the paper, drawn from a user's own data: pictures, and beside each the numbers it shows.

`features` is figure 1, `focal` 2a and 2b, `speed` 3a, 3b and 4; `drawn` is what they make and how it is written;
`style` is how all look; `gathering` draws those that there are data for, and names what the others need.
"""
