"""Moving companies from one installation to another: copied, checked, and only then opened there."""
