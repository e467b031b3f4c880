"""What only publishes the book: its notebooks' form, its text, its numbers run again, what a teacher hands out."""
