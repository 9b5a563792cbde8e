"""How trained methods do at other sites than the one they were trained at."""
