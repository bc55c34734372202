package re2j

import "strings"

// groups are the names in \p{...} that RE2/J 1.8 knows: categories and scripts of Unicode 6.0. Go knows newer scripts and long names as well.
const groups = "" +
	" Any Arabic Armenian Avestan Balinese Bamum Batak Bengali Bopomofo Brahmi Braille Buginese Buhid C Canadian_Aboriginal Carian Cc Cf Cham " +
	"Cherokee Co Common Coptic Cs Cuneiform Cypriot Cyrillic Deseret Devanagari Egyptian_Hieroglyphs Ethiopic Georgian Glagolitic Gothic Greek " +
	"Gujarati Gurmukhi Han Hangul Hanunoo Hebrew Hiragana Imperial_Aramaic Inherited Inscriptional_Pahlavi Inscriptional_Parthian Javanese Kaithi " +
	"Kannada Katakana Kayah_Li Kharoshthi Khmer L Lao Latin Lepcha Limbu Linear_B Lisu Ll Lm Lo Lt Lu Lycian Lydian M Malayalam Mandaic Mc Me " +
	"Meetei_Mayek Mn Mongolian Myanmar N Nd New_Tai_Lue Nko Nl No Ogham Ol_Chiki Old_Italic Old_Persian Old_South_Arabian Old_Turkic Oriya " +
	"Osmanya P Pc Pd Pe Pf Phags_Pa Phoenician Pi Po Ps Rejang Runic S Samaritan Saurashtra Sc Shavian Sinhala Sk Sm So Sundanese Syloti_Nagri " +
	"Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet Tamil Telugu Thaana Thai Tibetan Tifinagh Ugaritic Vai Yi Z Zl Zp Zs "

// isGroup reports whether name may stand in \p{...}, without a leading ^.
func isGroup(name string) bool {
	return name != "" && !strings.Contains(name, " ") && strings.Contains(groups, " "+name+" ")
}
