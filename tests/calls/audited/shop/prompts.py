GREETING = "Greet the user."
