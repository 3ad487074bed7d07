"""Evidence of license decisions: what is recorded, how the records are chained, and how they are verified."""
