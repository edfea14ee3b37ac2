"""Archived runs scored again where they lie: shards out, a dataset of Parquet beside the data; and compared.

    mhfd rescore -> driver -> plan_run, score_shard, finish_run on the endpoint (mhfd.worker)

What is done is told by the parts beside the data, never by this machine: it keeps the ids of tasks in flight (`job`).
"""
