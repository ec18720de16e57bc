"""From files of pictures and videos to files with the hands in them: reading, cameras, identity, pages."""
