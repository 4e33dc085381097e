"""The supervisor's children, what they are told and tell, and what they share."""
