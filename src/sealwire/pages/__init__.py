"""What people look at: the question a call asks them, their factors, what they approved. No script is on any page."""
