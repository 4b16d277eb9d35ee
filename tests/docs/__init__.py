"""What README and docs say: snippets run, commands exist, links lead somewhere, the reference leaves nothing out."""
