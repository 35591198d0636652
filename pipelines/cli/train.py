"""`shardloom train`."""

from training.train import train as train
