"""What every method promises, as checks that the tests and `osteomark check-method` run alike."""
