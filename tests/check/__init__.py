"""Tests of mailsuite.check."""
