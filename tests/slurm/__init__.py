"""Slurm on this machine: two nodes with four GPUs each that are none, and the shipped endpoint folder upon them.

What is real and what is not:

- slurmctld, two slurmd and munged are Debian's, started from a slurm.conf of our own; jobs are queued, started and
  cancelled as anywhere else.
- Both nodes are this machine under two names, and declare more cores than there are. Their GPUs are links to
  /dev/null: Slurm hands out their numbers, nothing computes on them.
- Not there: accounting (any account and QOS is accepted), control groups (a job sees all cores and devices).
"""
