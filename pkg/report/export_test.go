package report

// InChinese is for the test that nothing is left without its Chinese.
var InChinese = inChinese
