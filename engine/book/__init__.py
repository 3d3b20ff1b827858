"""Order books: market by price, and the slow twins they are tested against."""
