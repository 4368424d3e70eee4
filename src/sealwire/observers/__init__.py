"""Who hears of each outcome, after it went out."""
