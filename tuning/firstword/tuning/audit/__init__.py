"""What is made of an audit's runs: the path by line, opportunities with predicted savings, a page and JSON.

`facts` is what the running of an agent hands over. All here is pure but for reading lines of the agent's source.
"""
