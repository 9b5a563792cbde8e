"""The charts of the site: Plotly specifications with their numbers and their outcome; one module per kind."""
