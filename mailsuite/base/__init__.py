"""The ground: errors, time, lines, files, locks, log. Standard library only; knows nothing of mail."""
