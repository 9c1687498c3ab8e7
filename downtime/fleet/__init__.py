"""Several databases that get the same patches (tenants, shards): one after a canary, so many at a time.

`matrix` is what became of each, as values and text; pure. `ledgers` reads what all of them have, and plans over it.
`rollout` decides whose turn it is and when no more are begun. `member` deploys to one of them, by the same outage or
live application as a single database has.
"""
