"""Hands out shards to the drivers that work on one output set, so that each shard is worked on by one of them.

A driver claims shards one by one, each with a ticket. Two stores keep the claims: `ShardQueue` in the memory of an
actor, for the drivers of one run, and `ClaimFolder` in files of the output set, for runs that share nothing else.
"""
