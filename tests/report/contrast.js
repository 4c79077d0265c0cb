// Returns every piece of visible text whose contrast with what lies under it is below the given ratio (WCAG 2, 1.4.3),
// as "ratio text", and how many pieces there were. Colours are blended from the page's background up.
(least) => {
  const parse = (text) => {
    const numbers = text.match(/[\d.]+/g);
    if (!text.startsWith("rgb") || !numbers) return null; // "none", "transparent" and addresses
    const [r, g, b, a = 1] = numbers.map(Number);
    return { r, g, b, a };
  };
  const over = (top, bottom) => ({
    r: top.r * top.a + bottom.r * (1 - top.a),
    g: top.g * top.a + bottom.g * (1 - top.a),
    b: top.b * top.a + bottom.b * (1 - top.a),
    a: 1,
  });
  const luminance = ({ r, g, b }) => {
    const [x, y, z] = [r, g, b].map((v) => {
      const s = v / 255;
      return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ratio = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const paint = (element) => {
    const style = getComputedStyle(element);
    const shape = element instanceof SVGGeometryElement;
    const color = parse(shape ? style.fill : style.backgroundColor);
    if (color && shape) color.a *= Number(style.fillOpacity) * Number(style.opacity);
    return color;
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const low = [];
  let count = 0;
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const owner = node.parentElement;
    if (!node.data.trim() || ["STYLE", "SCRIPT", "TITLE"].includes(owner.tagName.toUpperCase())) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const box = range.getClientRects()[0];
    if (!box || box.width === 0) continue;
    count += 1;
    const stack = document.elementsFromPoint(box.left + box.width / 2, box.top + box.height / 2);
    let below = parse(getComputedStyle(document.documentElement).backgroundColor);
    below = below && below.a ? below : { r: 255, g: 255, b: 255, a: 1 };
    for (const element of stack.reverse()) {
      const color = paint(element);
      if (color) below = over(color, below);
    }
    const style = getComputedStyle(owner);
    const own = parse(owner instanceof SVGElement ? style.fill : style.color);
    const reached = ratio(over(own, below), below);
    if (reached < least) low.push(`${reached.toFixed(2)} ${node.data.trim()}`);
  }
  return { low, count };
}
