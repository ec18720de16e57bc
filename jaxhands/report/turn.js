// Truth and prediction of a record turn together.
look.faces = look.faces.map(text => Space.numbers(text, Uint16Array));
for (const record of document.querySelectorAll(".record")) {
  const shown = [...record.querySelectorAll("canvas.turn")].map(canvas => {
    const hands = JSON.parse(canvas.dataset.hands).map((hand, side) =>
      hand && { joints: hand.joints, mesh: Space.unpack(hand.mesh, look.faces[side]) });
    return [new Space(canvas, look), hands];
  });
  const spaces = shown.map(([space]) => space);
  for (const [space, hands] of shown) {
    space.others = spaces.filter(other => other !== space);
    space.frame(shown.flatMap(([, all]) => all));
    space.show(hands);
  }
}
