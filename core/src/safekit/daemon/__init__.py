"""safekitd: membership, the module automata, the journal, the control bus. It never imports a plugin."""
