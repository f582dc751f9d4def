"""Search logs: the contract, its checks, readers of public sets and the checked log that every later stage reads."""
