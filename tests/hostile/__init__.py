"""Bad input, class by class: each attack runs while a second client, the canary, goes on echoing."""
