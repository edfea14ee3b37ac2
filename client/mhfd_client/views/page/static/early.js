// Asks for the tiles while the modules are still on their way.
if (!window.location.hash.startsWith('#token=')) {
  window.earlyTiles = fetch('api/tiles.bin', { credentials: 'same-origin' }).catch(() => null);
}
