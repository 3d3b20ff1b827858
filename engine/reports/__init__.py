"""What sessions came to: files of finished sessions, and two of them held against each other."""
