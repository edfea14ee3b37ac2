"""Messages to people: events of the ledger in words, sent by webhook, mail, desktop or apprise."""
