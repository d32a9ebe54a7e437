"""The kinds of site that the courses teach: each set up with the course's commands, with mail flowing through."""
