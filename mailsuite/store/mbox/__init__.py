"""mbox: a mailbox is a file of messages behind "From " lines, its state in X-UID, Status and such header fields."""
